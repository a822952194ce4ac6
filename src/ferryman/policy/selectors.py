"""Do labels meet a selector? What is not known of them is a doubt.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

from ferryman.policy.answer import Answer, Doubt, every
from ferryman.policy.objects import Labels, Requirement, Selector


def selects(selector: Selector, labels: Labels) -> Answer:
    """Whether all requirements hold. An empty selector selects everything."""
    return every(_holds(requirement, labels) for requirement in selector) if selector else True


def _holds(requirement: Requirement, labels: Labels) -> Answer:
    key, operator = requirement.key, requirement.operator
    value = labels.known.get(key)
    if value is None and (key in labels.unsure or not labels.complete):
        return Doubt(f"the label `{key}` of {labels.whose} is not known")
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value is not None and value in requirement.values
    return value is None or value not in requirement.values
