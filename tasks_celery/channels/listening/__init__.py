"""Web process. How a page is told what it has not heard: its position, the hints from the channel layer, and the log.

`hub` is the middle, one for each event loop. It hears the hints through `reception`, or without a layer by `polling` and from
PostgreSQL (`listen`); `logreader` reads the log for all at once, and `rounds` looks at everybody now and then. A `subscription` is one
page: `feed` decides what it is told next, and `ready` says when that is all.
"""
