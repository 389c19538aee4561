"""From public archives to tasks; so far, which records of a source a task takes."""
