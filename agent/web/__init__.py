"""The review page and the dashboard over HTTP. Knows the queue and the report; nothing of the command line.

`site` is what all pages stand on; `app` puts them together and `guard` keeps the door.
"""
