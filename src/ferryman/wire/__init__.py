"""Protocol heads as pure functions: bytes in, values out.

One module per protocol or part of one; none knows a socket, a clock or a rule. Every parser keeps the same contract,
which the tests hold it to on every prefix, on every cut and on mutated input (tests/fuzz/):

* It is given the stream from its first byte, as far as it is known, and answers the value, "need more" or an error.
  What is wrong with a peer's bytes is an answer, or the one exception of its protocol (BadHead, BadSocks).
* The answer does not depend on how the bytes were cut: what is not "need more" for a prefix is the answer for
  every longer one.
* A value says how many bytes of the stream it took, so that the caller can consume a head to the exact byte.
* What a peer can make it keep is bounded, and the bound is a constant of the module.

Called by dataplane (sniffing, dialling) and by the tests. This file stays empty of code.
"""
