"""The live page (``brain live``): a running world, the model's energies and its decoded rollouts; the same as a video.

``loaded`` opens a run, ``rides`` make frames, ``brain.evaluation.interventions`` alter them, ``watcher`` scores them,
``scene`` puts these together frame by frame, ``show`` runs a scene in time, ``server`` sends it to viewers, ``video``
writes it to a file.
"""
