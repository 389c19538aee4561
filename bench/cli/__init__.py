"""The command line: one file per command, with its options, its `run` and its output.

The first line of a command file's docstring is the command's help. The file defines
`add_options(parser)`, and `run(args)`, which returns the exit status. It imports what it needs at
the top; `bench.cli.main` makes these imports lazy, so that `--help` is fast.
"""
