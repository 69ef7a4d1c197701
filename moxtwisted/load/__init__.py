"""Load for mail servers, and a server that takes any load: what ``moxmail smtp-source`` and ``moxmail smtp-sink`` are made of.

* ``source.LoadSource`` sends messages over many sessions and measures; ``connection`` is one of its connections, ``letters`` what it sends.
* ``sink.SinkHandlers`` answers an SMTP or LMTP server's questions: takes messages, counts them, finds the missing and the doubled ones by
  ``numbers``, refuses and delays as it is told, and ``keeping`` writes them down.
* ``percentiles.Histogram`` is how latencies are kept: bounded memory, a known error, merged by addition.

Nothing here knows the server of this distribution: it is one of those that can be loaded.
"""
