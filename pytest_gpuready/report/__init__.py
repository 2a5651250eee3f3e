"""Reports: the result model, and a renderer per form. All pure: nothing here asks a node or knows pytest."""
