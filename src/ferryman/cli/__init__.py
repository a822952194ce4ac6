"""The command line: one module per verb; arguments, messages, exit codes. Decides nothing.

    main            the group, what every verb shares: errors to messages and exit codes
    verb            a verb that teaches by example
    configuration   FILE…, --as and --set: reading a configuration and showing what is wrong with it
    running         --control: reaching the running process, waiting for its end

    run start forward         start ferryman
    check convert explain     look at a configuration
    status reload stop drain  talk to the running one
    schema completion version

Modules import the heavy parts (pydantic, starlette, asyncio) inside functions: `ferryman --help` has to be quick.
"""
