"""What tasks of one kind share: answering, retrieving, referring, pointing, comparing, entailing."""
