"""ferryman carries TCP and TLS streams between two networks, untouched.

The way of the data is the way through the folders:

    cli/           commands: arguments, messages, exit codes
    config/        text -> model -> plan; dialects/ read other programs' files
    plan.py        what is to be done, immutable
    rules/         facts about a connection, conditions, verdicts
    wire/          protocols as pure functions: bytes in, values out
    dataplane/     a worker: accept, look, decide, dial, carry (start with dataplane/session.py)
    controlplane/  the supervisor: workers, health, names, logs, pages, reload
    errors.py      what is raised on purpose

Public names: `__version__`. Everything else is reached through the command line and the configuration.
"""

__version__ = "0.1.0"
