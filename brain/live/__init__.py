"""The world, the model's surprise and its dream, live in a web page: ``brain live``; the same as a video.

``loaded`` opens a run, ``rides`` make frames, ``brain.evaluation.interventions`` falsify them, ``watcher`` judges them,
``scene`` puts these together frame by frame, ``show`` runs a scene in time, ``server`` sends it to viewers, ``video``
writes it to a file.
"""
