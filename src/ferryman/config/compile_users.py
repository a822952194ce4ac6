"""The users of an explicit proxy: a file or a mapping to names and hashes, and whether the rules know them.

Called by config.compile_connect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ferryman.config.compile_rules import Conditional
from ferryman.config.files import read_text
from ferryman.config.model_connect import ConnectSettings
from ferryman.config.nearest import nearest
from ferryman.config.source import Path, Report
from ferryman.config.values import shown
from ferryman.rules.condition import All, Any, Condition, Named, Not, Test, expressions
from ferryman.rules.passwords import check_hash, parse_htpasswd

Users = tuple[tuple[str, str], ...]
"""Names and the hashes of their passwords."""


def compile_users(settings: ConnectSettings, path: Path, report: Report) -> Users:
    """All users, in lower case if case is to be ignored."""
    if settings.users is None:
        return ()
    at = (*path, "users")
    match settings.users:
        case str() as name:
            text = read_text(name, at, report)
            if text is None:
                return ()
            found, problems = parse_htpasswd(text)
            for line, message in problems:
                report.error(at, f"{name}, line {line}: {message}")
        case mapping:
            found = mapping
            for user, secret in mapping.items():
                if not user or ":" in user or not user.isprintable():
                    report.error((*at, user), f"{shown(user)} cannot be a user's name", "choose one without a colon")
                if problem := check_hash(secret):
                    report.error((*at, user), f"{user}: {problem}")
    if not found:
        report.warning(at, "there are no users: nobody can log in", "add one, or remove `users`")
    unsalted = [user for user, secret in found.items() if secret.startswith("{SHA}")]
    if unsalted:
        others = f" and {len(unsalted) - 1} others" if len(unsalted) > 1 else ""
        message = f"the password of {unsalted[0]}{others} is kept as SHA-1 without salt, which is soon guessed"
        report.warning(at, message, "make a new hash with `htpasswd -B`")
    if not settings.users_ignore_case:
        return tuple(found.items())
    for user in found:
        if user != user.lower() and user.lower() in found:
            report.error(at, f"{user!r} and {user.lower()!r} are one user where case is ignored", "remove one of them")
    return tuple((user.lower(), secret) for user, secret in found.items())


def check_users(
    settings: ConnectSettings,
    users: Users,
    lists: Mapping[str, Sequence[Conditional]],
    path: Path,
    report: Report,
) -> None:
    """Point out rules about users that cannot hold, and users that no rule asks for."""
    rules = [((*path, key, number), rule) for key, entries in lists.items() for number, rule in enumerate(entries)]
    asking = [at for at, rule in rules if any(each.fact.name == "user" for each in expressions(rule.condition))]
    if settings.users is None:
        for at in asking:
            report.error(at, "user is never known: nobody is asked for a password", "add `users:`")
        return
    if lists["access"] and not any("access" in at for at in asking):
        message = "no rule of `access` asks who it is: what they allow is allowed without a password"
        report.warning((*path, "access"), message, "add `user: {found: true}` to the conditions")
    known = dict(users)
    for at, rule in rules if known else ():
        for name in _names(rule.condition):
            if name in known:
                continue
            hint = nearest(name, known)
            if settings.users_ignore_case and name.lower() in known:
                hint = f"names are compared in lower case: write {name.lower()}"
            report.warning(at, f"there is no user {name!r}", hint)


def _names(condition: Condition | None) -> list[str]:
    """The names that are compared with the user as they stand."""
    match condition:
        case Test():
            plain = str(condition.expression) == "user" and not condition.matcher.ignore_case
            return list(condition.matcher.patterns) if plain and condition.matcher.method == "is" else []
        case Named():
            return _names(condition.condition)
        case Not():
            return _names(condition.part)
        case All() | Any():
            return [name for part in condition.parts for name in _names(part)]
        case None:
            return []
