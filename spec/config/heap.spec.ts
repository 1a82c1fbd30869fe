import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { collectGarbage, isChosen } from '../../lib/config/heap.js';

const HEAP = new URL('../../lib/config/heap.js', import.meta.url);

interface YoungGenerations {
  readonly mainMB: number;
  readonly threadMB: number;
}

/** The young generations of a process and of a thread of it, each after 200,000 objects that stay. */
async function youngGenerations(call: string, env: NodeJS.ProcessEnv): Promise<YoungGenerations> {
  const grow = `
    const kept = [];
    for (let index = 0; index < 200_000; index++) kept.push({ index, list: [index] });
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size / 1e6;`;
  const thread = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { parentPort } from 'node:worker_threads';
    parentPort.once('message', () => {
      ${grow}
      parentPort.postMessage(young);
    });`;
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    import { keepHeapsSmall, setHeapFlags, threadLimits } from '${HEAP.href}';
    ${call};
    const worker = new Worker(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(thread)}`)}), { resourceLimits: threadLimits() });
    await once(worker, 'online');
    setHeapFlags();
    ${grow}
    worker.postMessage('grow');
    const [threadMB] = await once(worker, 'message');
    process.stdout.write(JSON.stringify({ mainMB: young, threadMB }));
    process.exit(0);`;
  const args = ['--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
  return JSON.parse(stdout) as YoungGenerations;
}

describe('the heaps', () => {
  it('have a young generation that does not grow, that of threads neither', async () => {
    const asV8 = await youngGenerations('', { NODE_OPTIONS: '' });
    expect(asV8.mainMB).to.be.above(8);
    expect(asV8.threadMB).to.be.above(8);
    const ours = await youngGenerations('keepHeapsSmall()', { NODE_OPTIONS: '' });
    expect(ours.mainMB).to.be.below(4);
    expect(ours.threadMB).to.be.below(4);
  });

  it('are as the operator wants them where that was said', async () => {
    expect(isChosen(['--max-semi-space-size=16'])).to.equal(true);
    expect(isChosen(['--inspect --max_semi_space_size=8'])).to.equal(true);
    expect(isChosen(['--max-old-space-size=100'])).to.equal(false);
    expect(isChosen(['--enable-source-maps'])).to.equal(false);
    const chosen = await youngGenerations('keepHeapsSmall()', { NODE_OPTIONS: '--max-semi-space-size=16' });
    expect(chosen.mainMB).to.be.above(8);
    expect(chosen.threadMB).to.be.above(8);
  });

  it('lose their garbage at once when told to', async () => {
    const dropped = new WeakRef({});
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    expect(dropped.deref()).to.equal(undefined);
  });
});
