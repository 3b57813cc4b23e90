"""Loading: which items a step asks for, and how their batches come to be, in this process or in workers.

    gallery     pictures of a split, their nearest ones, and seeded draws among them
    mining      tables of nearest pictures, written once beside the features
    order       which items of the stream make up a round's batch; by length, where a recipe says so
    parcel      a value with tensors in one piece of shared memory
    workshop    jobs to results in order: here, or in worker processes
    loader      steps to batches, and how long the trainer waited for them

The process that trains decides: it keeps the records, the order and all draws, and tells a worker in plain data what
to make. Workers only make: they tokenise, read regions, pad. So no number of workers can change a batch, a run resumes
by its round alone, and the records are read and held once.
"""
