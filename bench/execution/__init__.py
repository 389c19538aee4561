"""Execution: which cells are run, in what order, and where.

Four shapes say "which cell, run how", each made from the one before:

    Request   names and options, as a command line, a study or a record has them   request
    Cell      one planned run, checked, with all that it needs loaded              training.cell
    Job       a cell as a line of JSON: its names, its digest, a device            jobs
    Record    how it ended, and the names that request it again                    records.schema

The way of a request:

    session     trials first where the recipe tunes, then the final cells          (tuning)
    plan        reads the cards and checks names and data, once
                (selection), and builds the cells; a study's by study_plan
    scheduler   leases cells, submits them as jobs, retries, counts
    executors   bring a job to where it runs: this process, a worker process, Ray, Slurm
    worker      rebuilds the cell from the job's names, which proves that its record can be
                reproduced, and trains it; this process runs the planned cell as it is
    record      is written by whoever trained the cell; by the scheduler if that one died

A job is packed twice more on its way: as a `RemoteJob` for a node that shares no disk, and as a
`RankSpec` for the ranks that train one cell together.
"""
