"""How a student or a teacher is trained: the one loop, its checkpoints, and what finetune and distill share."""
