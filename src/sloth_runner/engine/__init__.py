"""Session, scheduler, pipeline, plan, drift: decides and records; never names a resource type."""
