"""The retrieval index: a catalogue of pictures and their region features; every picture is scored exactly."""
