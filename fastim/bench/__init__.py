"""``fastim bench``: a load on a server, and what came of it.

A run is written down in a profile, as parts that go on at the same time. One thread drives all clients over sockets,
``fastim._load`` counts what comes. Everything is sent when it is due, whatever became of what was sent before, and
every latency counts from when it was due: a server that falls behind cannot hide it.
"""
