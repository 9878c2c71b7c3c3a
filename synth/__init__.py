"""One row at a time: text, voices, hearing, codec and judgement. No Ray, no shards, no model."""

if __name__ == "synth":
    raise ImportError("import anytalk.synth (pip install -e .), not the bare folder name")
