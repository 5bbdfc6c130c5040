"""Acting by imagining: dynamics, costs and planners, and the agent that is made of them.

``dynamics`` says what comes of actions, a cost (``costs/``) which futures are wanted, a planner (``planners/``) finds
the actions; ``agent`` makes a policy of the three, and ``evaluation`` sends it through a task's list of episodes.
"""
