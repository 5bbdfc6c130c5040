"""Planning: dynamics, costs and planners, and the agent built from them.

``dynamics`` predicts the outcome of actions, a cost (``costs/``) scores it, a planner (``planners/``) finds the
actions; ``agent`` makes a policy of the three, and ``evaluation`` sends it through a task's list of episodes.
"""
