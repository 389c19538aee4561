"""The command line: a file per command, with its options, its call and what it prints.

A command's file has a docstring, whose first line is the command's help, `add_options(parser)`, and
`run(args)`, which returns the exit status. It imports at its top what it needs. So that `--help`
takes no time, `bench.cli.main` imports it within `lazy_imports`: it is given stand-ins, each of
which imports its module when something of it is first used. The file therefore names modules
(``from bench.records import store``), not what is in them; excepted are the standard library,
`bench.cli` and `bench.utils.errors`, which `bench.cli.main` has imported before.
"""
