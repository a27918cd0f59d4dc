"""The command line: what every command takes. Nothing here imports torch, DALI or pandas.

`console.py` runs a command; a module named like a command reads what is given to it. The work itself is done by the
module that `console.COMMANDS` names, imported only once the command line is known to be right.
"""
