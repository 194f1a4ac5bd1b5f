"""The Berkeley Function Calling Leaderboard (BFCL): its single-turn rows, checks and scores."""
