"""Tables, figures and pages made from the records; needs neither torch nor timm."""
