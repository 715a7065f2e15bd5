"""Round trips: the open questions out to other tools, their answers back. `tools` is the door; asks nobody itself.

`questions` says what goes out, `match` takes what came back, each tool's module knows its format.
"""
