"""The command line: the options of every command. Nothing here imports torch, DALI or pandas.

`console.py` runs a command; a module named like a command reads its options. The work itself is done by the module that
`console.COMMANDS` names, imported only once the command line is known to be right.
"""
