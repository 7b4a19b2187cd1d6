#!/usr/bin/env python
"""Train, evaluate and predict with SemanticMAC: the same as `semanticmac train`.

accelerate launch run_mac.py examples/recipes/synthetic_sentiment.yaml --data_dir CORPUS --output_dir RUN
python run_mac.py --model_name_or_path RUN --corpus synthetic --data_dir CORPUS --do_predict --output_dir PREDICTIONS
"""

from accelerate import PartialState

from modeling_semanticmac.commands.train import main

if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # left to the end of the interpreter, its threads can abort a finished run
