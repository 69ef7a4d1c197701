"""What every protocol needs of a transport, whatever it speaks: time-outs, and the connections of a listener."""
