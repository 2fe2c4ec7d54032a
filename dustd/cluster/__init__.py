"""A shoot, or an archive of years, over many machines: the acts on frames as tasks of Dask, the fold on this machine.

It knows where tasks run, what travels to them and back, and what to do when one does not come back; what is done to a
frame is `dustd.pipeline.shoot`'s. Workers read and write on storage that they share with the client; the maps stay with
the client. `tasks` is what workers run, and knows nothing of Dask.
"""
