"""Text to model to plan: source (places in text), load (which dialect?), dialects/, model (the schema), compile.

Everything here runs once, before or between plans; nothing here touches a connection.
"""
