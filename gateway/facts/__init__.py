"""What an answer states, whatever its words and its language: a signature, and whether two agree. Pure."""

from gateway.facts.compare import Comparison, Verdict, compare, same_facts
from gateway.facts.signature import FactSignature, signature
from gateway.facts.spelled import says
from gateway.facts.support import unsupported

__all__ = ["Comparison", "FactSignature", "Verdict", "compare", "same_facts", "says", "signature", "unsupported"]
