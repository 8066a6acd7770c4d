"""The auditor's package: what it holds, how it is made, and the script in it that checks it without Vedette."""
