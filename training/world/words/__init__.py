"""What is said about the pictures of the small world: questions, captions, expressions, dialogs, statements.

Everything here is a pure function of scenes and a seeded `random.Random`; `training.world.official` writes it down in
the official formats of the data sets.
"""
