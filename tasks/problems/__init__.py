"""Problems: what is learnt, behind one protocol. A new one is a module here and a line in configs.choices; its metrics,
as a table shows them, stand in a second module and line, which need no torch.
"""
