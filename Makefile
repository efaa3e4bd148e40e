# Two commands matter: `make lab` builds the virtual machines and runs the main job on them, `make test` runs every test.
# Each does all of its own set-up; the rest below are the steps they consist of.

.DEFAULT_GOAL := help
SHELL := /bin/bash
ROOT := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
export PATH := $(ROOT)/.venv/bin:$(PATH)
# Ansible ignores an ansible.cfg in a directory that everybody may write to, unless it is named.
export ANSIBLE_CONFIG := $(ROOT)/ansible.cfg
export LC_ALL := C.UTF-8

.PHONY: help venv link lab test check bench changelog clean

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv:  ## Make the Python environment from requirements.txt
	@bash .ci/venv.sh

link:  ## Let this checkout resolve the collection's own names
	@bash .ci/link.sh

lab: venv link lab-up  ## Build the lab and run the main job on it
	umask 022; ansible-playbook -i inventories/lab site.yml

test:  ## Run the fast checks, then the main job on new virtual machines, end to end
	@bash .ci/test.sh

check:  ## Run the fast checks only; ONLY="yamllint core" for some of them
	@bash .ci/check.sh $(ONLY)

bench: venv link  ## Measure against the usual way of doing the same, side by side
	umask 022; python benchmarks/kernel_role.py -i inventories/lab

clean:  ## Remove what was made here, not the lab's machines and cache
	rm -rf .venv .venv-core .ansible .pytest_cache .hypothesis artifacts/check

# lab-up, lab-down, lab-ssh and what they need
-include lab.mk
