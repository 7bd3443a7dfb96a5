import Gateway

await runProgram()
