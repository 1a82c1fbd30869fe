import { expect } from 'chai';
import { runCommand } from '../../lib/redirect/command.js';
import { RedirectError } from '../../lib/redirect/redirector.js';
import { within } from '../support/until.js';

const node = (script: string, options = {}) => runCommand(process.execPath, ['-e', script], options);

async function failureOf(promise: Promise<unknown>): Promise<RedirectError> {
  const error = await within('the command to end', promise).then(
    () => new Error('did not reject'),
    (reason: Error) => reason,
  );
  expect(error).to.be.instanceOf(RedirectError);
  return error as RedirectError;
}

describe('runCommand', () => {
  it('gives input to a program and returns what it printed and how it ended', async () => {
    const script =
      "process.stdin.on('data', (d) => console.error('got ' + d)); console.log('out'); process.exitCode = 3";
    expect(await node(script, { input: 'text' })).to.deep.equal({ code: 3, stdout: 'out\n', stderr: 'got text\n' });
  });

  it('runs no shell: arguments arrive as they are (R1)', async () => {
    const result = await runCommand('printf', ['%s', '$(id); `id` "x" \' y']);
    expect(result.stdout).to.equal('$(id); `id` "x" \' y');
  });

  it('names a program that is not there', async () => {
    const error = await failureOf(runCommand('no-such-program-here', []));
    expect([error.code, error.message]).to.deep.equal(['MISSING_TOOL', 'no-such-program-here is not installed']);
  });

  it('finds system programs where the PATH has no sbin', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = '/nowhere';
    try {
      expect((await runCommand('ldconfig', ['--version'])).code).to.equal(0);
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('kills a program that hangs, and repeats what it said', async () => {
    const script = "console.error('stuck here'); setInterval(() => {}, 1000)";
    const error = await failureOf(node(script, { timeoutMs: 300 }));
    expect(error.code).to.equal('COMMAND_FAILED');
    expect(error.message).to.match(/took over 300 ms: stuck here$/);
  });

  it('does not wait for a grandchild that keeps the output open', async () => {
    const error = await failureOf(runCommand('sh', ['-c', 'sleep 3 & sleep 3'], { timeoutMs: 100 }));
    expect(error.message).to.include('took over 100 ms');
  });

  it('kills a program that prints without end', async () => {
    const error = await failureOf(runCommand('yes', [], { maxOutputBytes: 100_000 }));
    expect(error.message).to.equal('yes: printed over 100000 bytes');
  });

  it('keeps the first 16 KiB of what a program complains about', async () => {
    const { stderr } = await node("process.stderr.write('first' + 'x'.repeat(1e6))");
    expect(stderr.slice(0, 6)).to.equal('firstx');
    expect(stderr.length).to.equal(16 * 1024);
  });

  it('reports the exit of a program that does not read its input, not a broken pipe', async () => {
    expect((await node('process.exit(2)', { input: 'x'.repeat(1_000_000) })).code).to.equal(2);
  });
});
