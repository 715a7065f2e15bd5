"""Round trips: the open questions out to other tools, their answers back. Knows the tools' formats; asks nobody."""
