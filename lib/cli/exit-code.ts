/** Owns the meaning of the exit codes. */

/** 0: done; 1: it could not be done; 2: the command line or the input is wrong, and nothing was done (rule C1). */
export type ExitCode = 0 | 1 | 2;
