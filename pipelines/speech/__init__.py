"""Phase 2: one work unit is spoken, listened to, judged and encoded."""
