"""The exit codes of commands, besides 0 for success. 1 is also that of a mistake, which one line tells."""

NOTHING_SUCCEEDED = 1
SOME_FAILED = 3
NOT_COPIED = 4
INTERRUPTED = 130
