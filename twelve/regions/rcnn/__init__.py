"""Faster R-CNN over residual nets: the published detector, bottom-up attention's and detectron2's, in plain torch."""
