"""Questions in files: written, handed in, read back, each once. Knows files and the ledger; knows no label and no loop.

A batch is a file of requests in the shape of OpenAI's batch interface, which `vllm run-batch` and most providers take,
too. Its calls are reserved together with it, so that they are asked nowhere else while it is out.
"""

from agent.batch.files import ERRORS, OUTPUT
from agent.batch.lines import Filed
from agent.batch.post import MOST_TIMES, Post
from agent.batch.sent import Sent

__all__ = ["ERRORS", "MOST_TIMES", "OUTPUT", "Filed", "Post", "Sent"]
