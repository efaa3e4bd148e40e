# The lab's virtual machines. LAB_CONTROL_PLANES, LAB_WORKERS and the other settings of the Vagrantfile may be given to make.

LAB_CACHE := $(or $(BAREMETAL_LAB_CACHE),$(HOME)/.cache/baremetal-kubernetes)
NODE ?= cp1

.PHONY: lab-up lab-down lab-ssh lab-status

lab-up: venv link  ## Bring up the lab's machines, with all they need, and write inventories/lab
	@umask 022; ansible-playbook playbooks/lab.yml

lab-down: venv link  ## Remove the lab's machines and end the libvirtd that the lab started
	@umask 022; ansible-playbook playbooks/lab_down.yml

lab-ssh:  ## Log in to a machine of the lab: make lab-ssh NODE=cp1, with CMD="..." to run a command
	@$(LAB_CACHE)/bin/lab-ssh $(LAB_CACHE) $(NODE) $(CMD)

lab-status:  ## Say what of the lab is up
	@echo "libvirt: $$($(LAB_CACHE)/bin/lab-libvirt status $(LAB_CACHE) 2>/dev/null || echo 'not running')"
	@echo "box: $$(readlink $(LAB_CACHE)/box/current || echo none), bundle: $$(readlink -e $(LAB_CACHE)/bundle || echo none)"
	@grep -h '"driver"' $(LAB_CACHE)/lab.json 2>/dev/null || true
	@$(LAB_CACHE)/bin/lab-libvirt exec $(LAB_CACHE) virsh --connect qemu:///system list --all 2>/dev/null || true
