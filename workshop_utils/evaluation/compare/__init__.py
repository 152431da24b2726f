"""Retrieval, fine-tuning, or both: nine arms on one set of questions, measured alike.

``arms`` says what is compared, ``material`` on what, ``asking`` what each arm is sent, ``scoring`` how its answers are
marked, ``costs`` what it takes, ``contrasts`` which differences are tested; ``run.compare`` puts them together, and
``final`` alone opens the test questions.
"""
