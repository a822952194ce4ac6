"""Text to model to plan; runs once, before or between plans, and touches no connection.

load        the entrance: text in, plan and findings out
source      places in text, findings
dialects/   one module per language: text -> native data with places
values      durations and addresses
model       the native schema; validate runs it and words its complaints; schema exports it as JSON Schema
conditions  native condition -> rules.condition.Condition
compile     model -> plan, with compile_backend, compile_listener, compile_rules, compile_log
render      findings -> text with the line shown, or JSON
emit        model -> native YAML
"""
