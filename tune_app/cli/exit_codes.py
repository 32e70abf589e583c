"""What a command's exit code says; 0: all went well, 1 also: a mistake, which one line tells."""

NOTHING_SUCCEEDED = 1
SOME_FAILED = 3
NOT_COPIED = 4
INTERRUPTED = 130
