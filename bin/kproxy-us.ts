#!/usr/bin/env node
/** Starts the program; nothing else. */
import { main } from '../lib/cli/main.js';

process.exitCode = await main(process.argv.slice(2));
